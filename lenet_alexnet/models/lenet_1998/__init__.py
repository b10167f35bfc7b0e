"""The networks of LeCun, Bottou, Bengio, Haffner 1998 as published: layers, tables, networks."""
