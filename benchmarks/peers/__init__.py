"""The same films through clipmill and its peers."""
