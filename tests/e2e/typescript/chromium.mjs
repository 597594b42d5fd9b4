// Opens a page in headless Chromium and prints what its function run() gives: chromium.mjs CHROMIUM SERVER_PORT PAGE_URL
import { chromium } from "playwright-core";

const [executablePath, port, url] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The page says localhost:8000; the server has a free port. Pages of the .test domain are on this machine.
    `--host-resolver-rules=MAP localhost:8000 127.0.0.1:${port}, MAP *.test 127.0.0.1`,
  ],
});
try {
  const page = await browser.newPage();
  await page.goto(url);
  const outcome = await page.evaluate(() =>
    globalThis.run().then(
      (result) => ({ result }),
      (error) => ({ error: String(error) }),
    ),
  );
  console.log(JSON.stringify(outcome));
} finally {
  await browser.close();
}
