"""One file for each command; `cli/app.py` names them all. A command's module is imported when it is called."""
