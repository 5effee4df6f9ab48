"""Token files from text: what `blockwise data` runs.

    python -m blockwise.tokens --train a.txt --validation b.txt --output data/mine

The road: text (documents as pieces of bounded length), tokenizer, encode (pieces to tokens, in
parallel), token_file (shards), prepare (all of it, with manifest.json and the moment when the new
files replace the old ones).
"""
