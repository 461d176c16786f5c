"""Arrow's formats of columns: Arrow and Feather files, Parquet, CSV."""
