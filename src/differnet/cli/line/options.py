"""The options of ``serve`` and ``watch`` that say who at the line is told of each inspection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Webhook = Annotated[str | None, typer.Option(help="URL to post each inspection to.")]
WebhookKey = Annotated[
    Path | None, typer.Option(help="File with the key that signs it (else $DIFFERNET_WEBHOOK_KEY).")
]
Mqtt = Annotated[
    str | None, typer.Option(help="mqtt[s]://[USER@]HOST/TOPIC to publish to; $DIFFERNET_MQTT_PASSWORD.")
]
Resend = Annotated[bool, typer.Option("--resend", help="Send again what was given up.")]
Modbus = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Serve the last verdict by Modbus TCP, to this machine alone unless HOST is another.",
    ),
]
