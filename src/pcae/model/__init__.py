"""Images -> tokens -> features: index arithmetic, the reduction (the idea), blocks, encoder, decoder."""
