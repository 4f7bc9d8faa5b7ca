"""Media: devices, images, folders and listings become records; their contents go into the store."""
