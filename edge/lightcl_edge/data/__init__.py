"""Images and features: data sets, decoding, the feature store, the feature buffer, held-out samples."""
