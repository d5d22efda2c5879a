"""Model files that are changed by hand."""

from differnet.flow import tensor_file


def rewrite(file, change):
    """Write ``file`` anew with what ``change`` makes of its header and its tensors."""
    header, tensors = tensor_file.read_tensors(file)
    change(header, tensors)
    tensor_file.write_tensors(file, tensors, header)


def rewrite_header(file, change):
    """Write ``file`` anew with what ``change`` makes of its header."""
    rewrite(file, lambda header, tensors: change(header))
