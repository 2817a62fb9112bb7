"""What several of our commands ask for: passphrases, and where a bucket is."""

from __future__ import annotations

import argparse
import os

from tiphys.main.backup import settings as configured
from tiphys.main.backup.destination import Destination
from tiphys.main.backup.seal import BackupError, Passphrase
from tiphys.main.backup.settings import BackupSettings


def check_root() -> None:
    if os.geteuid() != 0:
        raise BackupError("a cluster and its backups are root's; run it with sudo")


def add_bucket_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoint", metavar="URL", help="of the S3-compatible store (default: AWS')")
    parser.add_argument("--region", help="of the bucket (default: us-east-1)")
    parser.add_argument(
        "--credentials", metavar="FILE", help="with aws_access_key_id and aws_secret_access_key (default: environment)"
    )


def passphrase_in(options: argparse.Namespace) -> Passphrase | None:
    return Passphrase.read(options.passphrase_file) if options.passphrase_file else None


def place_in(options: argparse.Namespace, place: str) -> Destination:
    """A destination named on the command line."""
    wanted = BackupSettings(
        endpoint=options.endpoint or "", region=options.region or "", credentials=options.credentials or ""
    )
    return configured.open_destination(place if "://" in place else os.path.abspath(place), wanted)
