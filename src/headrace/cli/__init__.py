"""The `headrace` command: the demo, the contact sheet, the report on an installation.

Nothing here is imported by the loader, and each module is imported only when its command is called.
"""
