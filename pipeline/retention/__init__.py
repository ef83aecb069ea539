"""How old data gets, here and in InfluxDB: sweep, keeper, plan, trusted clock."""
