"""Images -> tokens -> features: index arithmetic, the reduction, the encoder and the decoder."""
