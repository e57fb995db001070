"""Images -> self-supervised loss: PCAE, MAE, SimMIM, their teacher, and numbers of their health."""
