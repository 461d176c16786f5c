"""TFRecord files, and the tf.train.Examples in them."""
