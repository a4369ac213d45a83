"""``receiver status`` and ``receiver streams``: what replicas do now, asked from outside."""
