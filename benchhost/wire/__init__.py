"""The structs that cross HTTP. Field names and shapes are promises; they only ever grow."""
