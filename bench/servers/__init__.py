"""Who is measured over HTTP, each in a process of its own."""
