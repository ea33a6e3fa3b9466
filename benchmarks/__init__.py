"""One question per file, each with a `main()` that prints a table and writes a JSON into results/."""
