"""The options of ``differnet watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str, typer.Argument(help="Folder of images, video file, or camera (rtsp://, http://, /dev/video0).")
]
Model = Annotated[Path, typer.Option("--model", help="Folder of a station, from differnet export.")]
Name = Annotated[str | None, typer.Option(help="Name of the model in the record (the folder unless given).")]
Label = Annotated[
    str | None, typer.Option(help="Name of the source in the record (its absolute path, or URL).")
]
Store = Annotated[str, typer.Option(help="Record: sqlite:///FILE or postgresql+psycopg://...")]
Every = Annotated[int, typer.Option(min=1, help="Judge every n-th frame of a video or camera.")]
Views = Annotated[
    str | None, typer.Option(help="Views an image: a number, or auto to stop when the verdict is certain.")
]
Maps = Annotated[str, typer.Option(help="Heat maps: none, flagged (review and NG) or all.")]
KeepImages = Annotated[
    str, typer.Option(help="Images kept beside the record: none, flagged (review, NG, error) or all.")
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of kept images (beside the file of the record).")
]
MaxAgeDays = Annotated[float | None, typer.Option(help="Forget inspections that are older.")]
MaxBytes = Annotated[int | None, typer.Option(help="Remove the oldest kept images beyond that.")]
Webhook = Annotated[str | None, typer.Option(help="URL to post each inspection to.")]
WebhookKey = Annotated[
    Path | None, typer.Option(help="File with the key that signs it (else $DIFFERNET_WEBHOOK_KEY).")
]
Mqtt = Annotated[
    str | None, typer.Option(help="mqtt[s]://[USER@]HOST/TOPIC to publish to; $DIFFERNET_MQTT_PASSWORD.")
]
Resend = Annotated[bool, typer.Option("--resend", help="Send again what was given up.")]
Once = Annotated[bool, typer.Option("--once", help="Judge what is there, then stop.")]
OnlyNew = Annotated[
    bool, typer.Option("--only-new", help="Leave alone what was in the folder before the first start.")
]
Settle = Annotated[
    float, typer.Option(min=0.0, help="Seconds without a change after which a file is complete.")
]
Patience = Annotated[float, typer.Option(min=0.0, help="Seconds that a file has to become readable.")]
Drift = Annotated[bool, typer.Option(help="Watch for a change of light, focus or parts.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON for each event.")]
