"""The first page of an app: what it serves, and how to call it. One HTML text that needs nothing else."""

from __future__ import annotations

import json
from html import escape

from communication.contract.contract import Contract, Rpc
from communication.contract.types import STRING_KINDS, EnumType, Field, Kind, MessageType
from communication.contract.wire_types import type_text
from communication.naming import PROTO_FILE
from communication.samples import sample_body

_STYLE = """
  :root { color-scheme: light dark; --line: #d0d7de; --soft: #57606a; --code: #f6f8fa; --link: #0550ae }
  @media (prefers-color-scheme: dark) { :root { --line: #30363d; --soft: #9198a1; --code: #161b22; --link: #79b8ff } }
  * { box-sizing: border-box }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem }
  h1 { margin: .5rem 0 0 } h2 { margin: 2.5rem 0 .5rem }
  h3 { font-size: .9rem; color: var(--soft); margin: .75rem 0 .25rem }
  a { color: var(--link) } small, .soft { color: var(--soft) }
  code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .875rem }
  pre { background: var(--code); border: 1px solid var(--line); border-radius: .4rem; margin: .25rem 0; padding: .6rem;
        overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere }
  .copy { position: relative } .copy button { position: absolute; top: .4rem; right: .4rem; font-size: .8rem }
  .copy pre { padding-right: 4rem }
  section { border-bottom: 1px solid var(--line) }
  details { border-top: 1px solid var(--line); padding: 0 .5rem }
  details[open] { padding-bottom: 1rem }
  summary { cursor: pointer; padding: .35rem 0; overflow-wrap: anywhere }
  nav a { margin-right: 1rem }
  .fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 0 1.5rem }
  ul { list-style: none; margin: 0; padding: 0; overflow-wrap: anywhere }
  li ul { border-left: 2px solid var(--line); margin-left: .25rem; padding-left: .75rem }
"""

# Without it everything is there, too: it adds the buttons, and opens what a link points at.
_SCRIPT = """
  const reveal = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target) { target.open = true; target.scrollIntoView() }
  };
  addEventListener("hashchange", reveal); reveal();
  if (navigator.clipboard) for (const box of document.querySelectorAll(".copy")) {
    const button = document.createElement("button");
    button.textContent = "copy";
    button.onclick = async () => {
      await navigator.clipboard.writeText(box.querySelector("code").textContent);
      button.textContent = "copied"; setTimeout(() => button.textContent = "copy", 1500);
    };
    box.append(button);
  }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<p><code>{service}</code> serves {count} over Connect and gRPC-Web and, on a server with HTTP/2, gRPC.
Its contract: <a href="{base}/rpc/app.proto">app.proto</a> to read,
<a href="{base}/rpc/app.binpb">app.binpb</a> (descriptor set) to generate clients from.</p>
<nav><a href="#rpcs">RPCs</a><a href="#types">Messages and enums</a><a href="#python">Python client</a>
<a href="#typescript">TypeScript client</a></nav>
<h2 id="rpcs">RPCs</h2>
<p class="soft">Each opens to its fields and a command that calls it.
The header <code>X-User</code> names who calls.</p>
<section>
{rpcs}</section>
<h2 id="types">Messages and enums</h2>
<p class="soft">What the fields above refer to.</p>
<section>
{types}</section>
<h2 id="python">Python client</h2>
{python}
<h2 id="typescript">TypeScript client</h2>
{generate}
{typescript}
<script>{script}</script>
</html>
"""

_RPC = """<details id="{name}"><summary><b>{name}</b> <small>{signature}</small></summary>
<div class="fields"><div><h3>Request</h3>{request}</div><div><h3>{kind}</h3>{response}</div></div>
<h3>curl</h3>
{command}
</details>
"""

_TYPE = '<details id="{name}"><summary><b>{name}</b> <small>{kind}</small></summary>{fields}</details>\n'

_PYTHON = """from communication.client import ConnectClient

async with ConnectClient("{base}", headers={{"X-User": "ada"}}) as client:
    {use}"""
_PYTHON_CALL = 'response = await client.call("{name}", {body!r})'
_PYTHON_STREAM = 'async for message in client.stream("{name}"):\n        print(message)'

_GENERATE = """npm install @bufbuild/buf @bufbuild/protoc-gen-es @bufbuild/protobuf \\
  @connectrpc/connect @connectrpc/connect-web
curl -sO {base}/rpc/app.binpb
npx buf generate app.binpb --path {proto} --template \\
  '{{"version":"v2","plugins":[{{"local":"protoc-gen-es","out":"gen","opt":["target=ts"]}}]}}'"""

_TYPESCRIPT = """import {{ createClient }} from "@connectrpc/connect";
import {{ createConnectTransport }} from "@connectrpc/connect-web";
import {{ {service} }} from "./gen/{module}_pb";

const transport = createConnectTransport({{ baseUrl: "{base}" }});
const client = createClient({service}, transport);
{use}"""
_TYPESCRIPT_CALL = "const response = await client.{name}({body});"
_TYPESCRIPT_STREAM = "for await (const message of client.{name}({{}})) console.log(message);"


def index_page(title: str, contract: Contract, base_url: str) -> str:
    """Return the page as HTML.

    Args:
        title: Name of the app.
        contract: What the app serves.
        base_url: Where the caller reached the app, without a slash at the end.

    Example:
        >>> page = index_page("Calculator", Contract.build("calculator", []), "http://localhost:8000")
        >>> "vention.app.v1.CalculatorService" in page
        True
    """
    generate = _GENERATE.format(base=base_url, proto=PROTO_FILE)
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        service=escape(contract.service),
        count="one RPC" if len(contract.rpcs) == 1 else f"{len(contract.rpcs)} RPCs",
        base=escape(base_url),
        rpcs="".join(_rpc(contract, rpc, base_url) for rpc in contract.rpcs).replace("<details", "<details open", 1),
        types=_types(contract),
        python=_copyable(_python(contract, base_url)),
        generate=_copyable(generate),
        typescript=_copyable(_typescript(contract, base_url)),
        script=_SCRIPT,
    )


def _rpc(contract: Contract, rpc: Rpc, base_url: str) -> str:
    request, response = (", ".join(field.json_name for field in side.fields) for side in (rpc.request, rpc.response))
    arrow = "→ stream of" if rpc.streaming else "→"
    return _RPC.format(
        name=escape(rpc.name),
        signature=escape(f"({request}) {arrow} ({response})"),
        request=_fields(rpc.request, contract),
        response=_fields(rpc.response, contract),
        kind="Each response of the stream" if rpc.streaming else "Response",
        command=_copyable(_curl(contract, rpc, base_url)),
    )


def _types(contract: Contract) -> str:
    """The messages and enums that fields refer to."""
    own = {side.name for rpc in contract.rpcs for side in (rpc.request, rpc.response)}
    shown = [_message(item) for item in contract.messages.values() if item.name not in own]
    shown += [_enum(item) for item in contract.enums.values()]
    return "".join(shown) or '<p class="soft">none</p>'


def _message(message: MessageType) -> str:
    return _TYPE.format(name=escape(message.name), kind="message", fields=_fields(message))


def _enum(enum: EnumType) -> str:
    labels = "".join(f"<li><code>{escape(value.label)}</code></li>" for value in enum.values[1:])
    return _TYPE.format(name=escape(enum.name), kind="enum", fields=f"<ul>{labels}</ul>")


def _fields(message: MessageType, contract: Contract | None = None) -> str:
    """The fields of a message; with the contract, those of the messages in it, too."""
    items = []
    for field in message.fields:
        inner = contract.messages.get(field.type_name or "") if contract else None
        nested = _fields(inner) if inner else ""
        items.append(f"<li><code>{escape(field.json_name)}</code> <small>{_type(field)}</small>{nested}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else '<span class="soft">no fields</span>'


def _type(field: Field) -> str:
    text = escape(type_text(field).replace("google.protobuf.", ""))
    if field.kind in STRING_KINDS - {Kind.STRING}:
        text += f" ({field.kind.name.lower()})"
    if field.type_name is not None:
        name = escape(field.type_name)
        text = text.replace(name, f'<a href="#{name}">{name}</a>')
    return f"{text}, optional" if field.presence and not field.required else text


def _copyable(code: str) -> str:
    return f'<div class="copy"><pre><code>{escape(code)}</code></pre></div>'


def _curl(contract: Contract, rpc: Rpc, base_url: str) -> str:
    """A command that calls the RPC; single quotes in it are written so that a shell takes them."""
    url = f"{base_url}/rpc/{contract.service}/{rpc.name}"
    if rpc.streaming:
        # An envelope of no flags and two bytes, then "{}".
        return (
            f"printf '\\0\\0\\0\\0\\2{{}}' | curl -sN {url} \\\n"
            "  -H 'Content-Type: application/connect+json' --data-binary @-"
        )
    body = json.dumps(sample_body(contract, rpc.request), ensure_ascii=False).replace("'", "'\\''")
    return f"curl -s {url} \\\n  -H 'Content-Type: application/json' -H 'X-User: ada' \\\n  -d '{body}'"


def _python(contract: Contract, base_url: str) -> str:
    rpc = _shown_first(contract)
    if rpc is None:
        use = "..."
    elif rpc.streaming:
        use = _PYTHON_STREAM.format(name=rpc.name)
    else:
        use = _PYTHON_CALL.format(name=rpc.name, body=sample_body(contract, rpc.request))
    return _PYTHON.format(base=base_url, use=use)


def _typescript(contract: Contract, base_url: str) -> str:
    rpc = _shown_first(contract)
    use = ""
    if rpc is not None:
        name = rpc.name[:1].lower() + rpc.name[1:]  # as protoc-gen-es names methods
        use = _TYPESCRIPT_STREAM.format(name=name) if rpc.streaming else _TYPESCRIPT_CALL.format(name=name, body="{}")
    service, module = contract.service.rpartition(".")[2], PROTO_FILE.removesuffix(".proto")
    return _TYPESCRIPT.format(base=base_url, service=service, module=module, use=use)


def _shown_first(contract: Contract) -> Rpc | None:
    """The RPC that shows how clients call: one that can be asked for things and needs none, where there is one."""

    def effort(rpc: Rpc) -> tuple[bool, bool, bool]:
        return rpc.streaming, bool(sample_body(contract, rpc.request)), not rpc.request.fields

    return min(contract.rpcs, key=effort, default=None)
