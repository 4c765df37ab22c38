"""The JSON Schemas (2020-12) of what is printed and written. Read `catalog` first; nothing imports it but who asks."""
