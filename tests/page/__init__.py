"""The page in a real Chromium, against runs that are made up."""
