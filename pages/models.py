"""Models: how often a network is right, where it errs, how far to trust it, and what goes on inside."""

from cifar_model.ui import components, components_models, resources

resources.answering()  # starts with the first page, long before it is asked
with components.guarded():
    components_models.read_link()
    question = "How often is a network right, where does it err, and how far can you trust it?"
    with components.header("Models", question):
        models = components.choose_models()
    components_models.show_models(models)
resources.settle("models")
