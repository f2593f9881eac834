"""Small synthetic studies written without the code under test: hearts as blobs, DICOM by hand."""
