"""The engine: learns the style of one embroidery and paints designs in it.

Pure torch and diffusers; no Celery, no database, no HTTP, usable as a library::

    base = load_base(folder)
    style = train_style(base, PairInput(reference=photo), train_config("default"))
    images = Renderer(base).render(load_adapter(style.adapter), RenderRequest(design=logo))
"""
