"""The default corpus: Jane Austen's novels."""
