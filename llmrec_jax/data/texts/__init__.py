"""Item texts: tokenizers, token tables, the joint catalogue, TF-IDF and whitening."""
