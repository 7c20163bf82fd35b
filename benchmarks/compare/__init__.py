"""Who is better, with statistics that hold."""
