"""The command ``pnpfusion``."""

from pnpfusion.cli.command_line import main as main
