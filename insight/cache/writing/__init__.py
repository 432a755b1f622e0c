"""From a source of images to a cache: resumable, by one process or many, and appended to later."""
