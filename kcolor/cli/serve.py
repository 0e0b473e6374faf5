"""`kcolor serve`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcolor.quiet import quiet_import

if TYPE_CHECKING:
    from kcolor.serve.model import Model


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path), default="small")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0 for any free one.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), help="Answer gRPC there as well.")
@click.option(
    "--site",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of kcolor export --web: browsers run its network themselves, and ask the server only where they cannot.",
)
@click.option("--name", help="Of the model, in the addresses of the API; default its own.")
@click.option("--max-body", type=click.IntRange(1), default=32, show_default=True, metavar="MIB", help="Of a request.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Refuse larger photos.")
@click.option("--queue", type=click.IntRange(1), default=128, show_default=True, help="Photos that may wait.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True, help="Photos that go through at once.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Batches computed at once.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds of a request."
)
def serve(model: Path, host: str, port: int, grpc_port: int | None, max_body: int, **options: Any) -> None:
    """Serve a MODEL (default small): a page to try it, and the REST API of TensorFlow Serving.

    MODEL is a run, a .keras file, a SavedModel of kcolor export, or the name of a model that comes with kcolor. Only
    this machine can reach it unless --host says otherwise. Ctrl-C stops it, once what it has accepted is answered.
    """
    from kcolor.serve.listening import listen, url

    with listen(host, port) as listening:  # before all that takes longer
        with quiet_import():
            from kcolor.serve import server as verb

        def tell(served: "Model") -> None:
            address = url(host, listening)
            also = f", gRPC: {host}:{grpc_port}" if grpc_port else ""
            click.echo(f"{served.name} is ready at {address} (API: {address}v1/models/{served.name}{also})")

        grpc = (host, grpc_port) if grpc_port else None
        verb.serve(model, listening, grpc=grpc, max_body=max_body << 20, on_ready=tell, **options)
