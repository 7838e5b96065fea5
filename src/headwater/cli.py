"""The `headwater` command: names, flags and exit codes. What the commands do is in `terminal/`.

Exit codes: 0 fine; 1 the answer or the connection failed; 2 wrong usage or configuration; 130 interrupted.
Nothing heavy is imported here: `headwater --help` must answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ._version import __version__
from .errors import ConfigError, HeadwaterError

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVE_HELP = """Start the server.

Every setting is a flag here, a variable HEADWATER_NAME and a key of the TOML file, in this order of strength.
"""


class _Commands(TyperGroup):
    """Makes the full `serve`, whose flags come from the settings, only when that command is meant.

    The settings cost a quarter of a second to import, which every other command would pay.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[:1] == ["serve"]:
            self.add_command(serve_command(), "serve")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="headwater",
    cls=_Commands,
    help="A streaming server for LLM answers: durable, resumable token streams over Server-Sent Events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Settings are named with underscores; flags are accepted with either.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    wanted: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Options of `headwater` itself; `_tell_version` has obeyed them before this runs."""


Url = Annotated[str, typer.Option("--url", envvar="HEADWATER_URL", help="Address of the server.", metavar="URL")]
Key = Annotated[str, typer.Option("--key", envvar="HEADWATER_API_KEY", help="API key.", metavar="TEXT")]
DEFAULT_URL = "http://127.0.0.1:8000"


def serve_command() -> Any:
    """`serve` with one flag a setting."""
    from .terminal.flags import with_settings
    from .terminal.serve import serve

    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command("serve")(with_settings(serve, SERVE_HELP))
    return typer.main.get_command(single)


@app.command("serve", help=SERVE_HELP)
def _serve() -> None:
    """Stands in the list of commands; `_Commands` puts the full one in its place before it runs."""


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="Model; the server's default when left out.", metavar="[MODEL]")] = "",
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Talk to a model; with a pipe, answer its text and end.

    Ctrl-C stops the answer at the server and keeps what was shown; a second one, before the answer has ended, leaves at
    once. At the prompt, Ctrl-D leaves, and so does Ctrl-C, with exit code 130.
    """
    from .terminal.chat import chat as run

    raise typer.Exit(run(model, url=url, key=key))


@app.command()
def tail(
    stream: Annotated[str, typer.Argument(help="Id of the stream.", metavar="STREAM")],
    url: Url = DEFAULT_URL,
    key: Key = "",
    after: Annotated[str, typer.Option(help="Cursor to go on after, as `epoch.seq`.", metavar="CURSOR")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an event, with its cursor.")] = False,
) -> None:
    """Follow a stream to its end. The exit code is 1 when it ends in an error.

    Into a file or a pipe goes the text alone; what happens meanwhile (a place in a queue, a retry) is on stderr.
    """
    from .terminal.tail import tail as run

    raise typer.Exit(run(stream, url=url, key=key, after=after, as_json=as_json))


@app.command()
def record(
    model: Annotated[str, typer.Argument(help="Model, as the server's users name it.", metavar="MODEL")],
    out: Annotated[
        Path,
        typer.Option(help="File to write, as `NAME.jsonl`; its directory is made.", metavar="FILE", show_default=False),
    ],
    prompt: Annotated[str, typer.Argument(help="Question; stdin when left out.", metavar="[PROMPT]")] = "",
    request: Annotated[
        Path | None, typer.Option(help="Body of a chat completion: messages, tools, options.", metavar="FILE")
    ] = None,
    keep_request: Annotated[
        bool, typer.Option("--keep-request", help="Keep what was asked in the recording, too.")
    ] = False,
    note: Annotated[str, typer.Option(help="Remark for whoever reads the recording.", metavar="TEXT")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    config: Annotated[str, typer.Option(help="TOML file with settings, as for `serve`.", metavar="FILE")] = "",
) -> None:
    """Keep a provider's answer, byte for byte with its times, for `replay`.

    Asks the provider itself, once, without a server. An answer that fails is a recording as well; the exit code is then
    1. Ctrl-C stops the answer and keeps what came.
    """
    from .terminal.record import Options
    from .terminal.record import record as run

    options = Options(out, request, keep_request, note, force, config)
    raise typer.Exit(run(model, prompt, options))


AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Window = Annotated[str, typer.Option(help="How far back, as 90, 15m, 12h or 30d.", metavar="TIME")]


@app.command()
def stats(
    url: Url = DEFAULT_URL,
    key: Key = "",
    window: Window = "1h",
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and look again every two seconds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a server's figures: streams, rates, latencies, providers, cost, alerts. Needs an administrator's key."""
    from .terminal.stats import stats as run

    raise typer.Exit(run(url=url, key=key, window=window, as_json=as_json, watch=watch))


@app.command()
def plan(
    growth: Annotated[float, typer.Argument(help="How many times the measured load.", metavar="[TIMES]")] = 2.0,
    url: Url = DEFAULT_URL,
    key: Key = "",
    window: Window = "7d",
    cores: Annotated[int, typer.Option(help="Cores of a node.", metavar="NUMBER", min=1)] = 2,
    memory: Annotated[str, typer.Option(help="Memory of a node, as 4GiB.", metavar="BYTES")] = "4GiB",
    bandwidth: Annotated[str, typer.Option(help="Line of a node in bits a second, as 1G.", metavar="BITS")] = "1G",
    utilisation: Annotated[float, typer.Option(help="How much of a node is planned for.", metavar="SHARE")] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Plan capacity: from the load that a server has measured to processes, memory, bandwidth and nodes."""
    from .terminal.plan import Order
    from .terminal.plan import plan as run

    order = Order(window, growth, cores, memory, bandwidth, utilisation)
    raise typer.Exit(run(order, url=url, key=key, as_json=as_json))


keys_app = typer.Typer(
    help="API keys in the database: make, list, revoke and rotate them, with a server running or not.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app, name="keys")

KeyRef = Annotated[str, typer.Argument(help="Id of the key, or its first characters as listed.", metavar="KEY")]
Config = Annotated[str, typer.Option(help="TOML file with settings, as for `serve`.", metavar="FILE")]
DataDir = Annotated[str, typer.Option(help="Data directory, as for `serve`.", metavar="DIRECTORY")]


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is called in lists.", metavar="[NAME]")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="chat, documents, read or admin; may be repeated.", metavar="SCOPE", show_default=False),
    ] = None,
    organization: Annotated[str, typer.Option(help="Whose data it works on.", metavar="NAME")] = "",
    project: Annotated[str, typer.Option(help="Likewise.", metavar="NAME")] = "",
    user: Annotated[str, typer.Option(help="Likewise; without any name the key's own.", metavar="NAME")] = "",
    single_user: Annotated[
        bool, typer.Option("--single-user", help="It works on what was made before there were keys.")
    ] = False,
    expires_in: Annotated[str | None, typer.Option(help="As 90, 15m, 12h or 30d.", metavar="TIME")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(metavar="NUMBER", help="Requests a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(metavar="NUMBER", help="Tokens a minute.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(metavar="NUMBER", help="Tokens a period.")] = None,
    budget_cost: Annotated[float | None, typer.Option(metavar="NUMBER", help="Cost a period, as prices say.")] = None,
    budget_period: Annotated[str | None, typer.Option(metavar="day|month|total", help="Default: month.")] = None,
    config: Config = "",
    data_dir: DataDir = "",
    as_json: AsJson = False,
) -> None:
    """Make a key. It goes to stdout, this once; only its digest is kept.

    From the first key on, a server asks every caller for one. What may be asked for by `admin` is making keys, too.
    """
    from .terminal.keys import Place, create

    fields: dict[str, object] = {
        "name": name,
        "scopes": scope or None,
        "organization": organization,
        "project": project,
        "user": user,
        "expires_in": expires_in,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "budget_tokens": budget_tokens,
        "budget_cost": budget_cost,
        "budget_period": budget_period,
    }
    raise typer.Exit(create(fields, Place(config, data_dir, as_json), single_user=single_user))


@keys_app.command("list")
def list_keys(
    prefix: Annotated[str, typer.Argument(help="Only keys that begin so.", metavar="[PREFIX]")] = "",
    config: Config = "",
    data_dir: DataDir = "",
    as_json: AsJson = False,
) -> None:
    """List the keys, newest first, with what they have used; never the keys themselves."""
    from .terminal.keys import Place, show

    raise typer.Exit(show(prefix, Place(config, data_dir, as_json)))


@keys_app.command("revoke")
def revoke_key(
    key: KeyRef,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Remove it from the list, too. A server without any key left asks for none."),
    ] = False,
    config: Config = "",
    data_dir: DataDir = "",
    as_json: AsJson = False,
) -> None:
    """Revoke a key: a running server knows it within the setting `key_cache_s`."""
    from .terminal.keys import Place, revoke

    raise typer.Exit(revoke(key, Place(config, data_dir, as_json), forget=forget))


@keys_app.command("rotate")
def rotate_key(
    key: KeyRef,
    grace: Annotated[
        str, typer.Option(help="How long the old secret holds, as 0, 15m or 12h. [default: 1h]", metavar="TIME")
    ] = "",
    config: Config = "",
    data_dir: DataDir = "",
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, which goes to stdout, this once."""
    from .terminal.keys import Place, rotate

    raise typer.Exit(rotate(key, Place(config, data_dir, as_json), grace=grace))


encryption_app = typer.Typer(
    help="Encryption at rest: the key ring, and what is encrypted with which of its keys.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(encryption_app, name="encryption")


@encryption_app.command("rotate")
def rotate_encryption(config: Config = "", data_dir: DataDir = "", as_json: AsJson = False) -> None:
    """Add a key to encryption_keys_file, which is made where there is none.

    A first key encrypts at once, others in a minute: by then every running server has read them. Older keys stay in
    the ring, and still decrypt. Run it as the server's user.
    """
    from .terminal.encryption import Place, rotate

    raise typer.Exit(rotate(Place(config, data_dir, as_json)))


@encryption_app.command("status")
def show_encryption(config: Config = "", data_dir: DataDir = "", as_json: AsJson = False) -> None:
    """Count what each key encrypts, and what is not encrypted. With the server stopped."""
    from .terminal.encryption import Place, status

    raise typer.Exit(status(Place(config, data_dir, as_json)))


@encryption_app.command("reencrypt")
def reencrypt(config: Config = "", data_dir: DataDir = "", as_json: AsJson = False) -> None:
    """Encrypt everything with the newest key, also what was kept before there was one. With the server stopped.

    Begun again after an interruption, it goes on where it was. Afterwards no record needs an older key. What is damaged
    is told and left as it is; the exit code is 1 then.
    """
    from .terminal.encryption import Place
    from .terminal.encryption import reencrypt as run

    raise typer.Exit(run(Place(config, data_dir, as_json)))


@app.command()
def check(config: Config = "", data_dir: DataDir = "", as_json: AsJson = False) -> None:
    """Verify a data directory that no server runs on: every record against its checksum. Changes nothing.

    The exit code is 1 where something is damaged; what is damaged is told by its stream, or its table and row.
    """
    from .terminal.check import check as run

    raise typer.Exit(run(config=config, data_dir=data_dir, as_json=as_json))


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False) -> None:
    """Print the version."""
    if not as_json:
        typer.echo(f"headwater {__version__}")
        return
    import json
    import platform

    facts = {"headwater": __version__, "python": platform.python_version(), "platform": platform.platform()}
    typer.echo(json.dumps(facts))


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point. Errors made for people become one line on stderr."""
    try:
        app(args=None if argv is None else list(argv))
    except HeadwaterError as exc:
        typer.echo(f"headwater: {exc.message}", err=True)
        sys.exit(2 if isinstance(exc, ConfigError) else 1)


if __name__ == "__main__":
    main()
