"""`raterhf compare`: train what is missing, measure every policy in a simulated world, on people or on one's own data."""
