"""Weights of the compiled runtime in fewer bits than int8, a format a layer.

`packing` lays weights out as firmware/lib/kernels/include/kernels/coded.h reads them, `rans` is the entropy coder,
`catalogue` says which ways there are for a layer, `choose` takes one for each, by the exact counts of `counting`.
"""
