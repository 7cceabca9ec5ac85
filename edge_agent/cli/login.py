"""How `read`, `watch`, `write` and `scan` are let in where a link or a device asks who we are. No secret is ever an option."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from drivers.base import LinkConfig
    from edge_agent.model import Device

PANEL = "Login"

User = Annotated[
    str,
    typer.Option("--user", rich_help_panel=PANEL, help="User name on OPC UA and HTTP links; needs --password-file."),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", rich_help_panel=PANEL, help="File whose only line is the password of --user."),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        rich_help_panel=PANEL,
        help="OPC UA: none, Basic256Sha256, Aes128Sha256RsaOaep or Aes256Sha256RsaPss.",
    ),
]
Mode = Annotated[
    str | None, typer.Option("--mode", rich_help_panel=PANEL, help="OPC UA with a --policy: sign or sign_and_encrypt.")
]
Pki = Annotated[
    Path | None,
    typer.Option(
        "--pki", rich_help_panel=PANEL, help="OPC UA: folder of certificates; ours is made there when absent."
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        rich_help_panel=PANEL,
        help="File whose only line is the device's own secret (OSDP key, PJLink password).",
    ),
]
At = Annotated[
    str,
    typer.Option(
        "--at",
        rich_help_panel=PANEL,
        help="host or host:port of the device itself, on links that have many (udp, listen).",
    ),
]

POLICIES = ("none", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES = ("sign", "sign_and_encrypt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """The options, as they were given."""

    user: User = ""
    password_file: PasswordFile = None
    policy: Policy = None
    mode: Mode = None
    pki: Pki = None
    secret_file: SecretFile = None
    at: At = ""

    def of_link(self, link: LinkConfig) -> LinkConfig:
        """The link, let in. Raises typer.BadParameter for options that a link of this kind has no use for."""
        if bool(self.user) != (self.password_file is not None):
            raise typer.BadParameter("--user and --password-file belong together")
        if self.user and link.opcua is None and link.http is None:
            raise typer.BadParameter(f"--user is for OPC UA and HTTP links, not for {link.place}")
        if link.opcua is None and (self.policy or self.mode or self.pki):
            raise typer.BadParameter(f"--policy, --mode and --pki are for OPC UA links, not for {link.place}")
        if self.password_file is not None and not self.password_file.is_file():
            raise typer.BadParameter(f"--password-file: there is no file {self.password_file}")
        if self.policy is not None and self.policy not in POLICIES:
            raise typer.BadParameter(f"--policy {self.policy!r} is none of {', '.join(POLICIES)}")
        if self.mode is not None and self.mode not in MODES:
            raise typer.BadParameter(f"--mode {self.mode!r} is none of {', '.join(MODES)}")
        password = str(self.password_file or "")
        if link.http is not None:
            return replace(link, http=replace(link.http, user=self.user, password_file=password))
        if link.opcua is None:
            return link
        own = replace(
            link.opcua,
            policy=self.policy or link.opcua.policy,
            mode=self.mode or link.opcua.mode,
            identity="user" if self.user else link.opcua.identity,
            user=self.user,
            password_file=password,
            pki=str(self.pki or ""),
        )
        return replace(link, opcua=own)

    def of_device(self, device: Device) -> Device:
        """The device with its own address and the place of its secret. Raises typer.BadParameter."""
        from device_profiles.secrets import Secret

        if self.secret_file is None:
            return replace(device, at=self.at) if self.at else device
        if not self.secret_file.is_file():
            raise typer.BadParameter(f"--secret-file: there is no file {self.secret_file}")
        return replace(device, at=self.at, secret=Secret(file=str(self.secret_file.absolute())))
