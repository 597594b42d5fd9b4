"""Who is measured: the accessor, the driver alone, and the session that one would write without the project."""
