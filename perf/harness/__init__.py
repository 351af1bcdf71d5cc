"""The side-by-side harness: builds servers, measures them in turn, and compares."""
