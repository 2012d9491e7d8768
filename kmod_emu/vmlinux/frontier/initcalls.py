"""Initcalls that are left out, by their names, and why."""

LEFT_OUT = {
    "(do_)?init_real_mode": "no other processor is to be started",
    "init_per_zone_wmark_min": "there are no zones: pages are the machine's",
    "kcompactd_init": "memory is not compacted: pages are the machine's",
}
