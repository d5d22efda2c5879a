"""Every setting, frozen: sections, presets, and what a setting implies."""
