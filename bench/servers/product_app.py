"""The product as a server: `uvicorn bench.servers.product_app:app`, its database named by the environment."""

from __future__ import annotations

from bench.part import Part
from communication.app import VentionApp
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.vention_communication import build_storage_bundle

bootstrap()
app = VentionApp(name="bench")
app.add_bundle(build_storage_bundle(accessors=[ModelAccessor(Part, "parts")], max_records_per_model=None))
app.finalize()
