// Runs the page's functions under Node. The page says http://localhost:8000; argv[2] is where the server really is.
import { story } from "./story";

const realFetch = globalThis.fetch;
const server = process.argv[2] ?? "";
globalThis.fetch = (input, init) => realFetch(String(input).replace("http://localhost:8000", server), init);

console.log(JSON.stringify(await story()));
