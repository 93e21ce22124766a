"""Styles on the weights themselves: exchanged in place, and never left behind."""

import pytest
import torch

from tests.engine.test_adapter import strong_adapter
from tests.engine.test_routing import predict
from worker.engine.adapter import Adapter, AdapterError, applied, style_on
from worker.engine.infer import Renderer
from worker.engine.swap import WeightSwap


def weights(base):
    return {name: parameter.clone() for name, parameter in base.unet.named_parameters()}


def unchanged(base, before):
    return all(torch.equal(parameter, before[name]) for name, parameter in base.unet.named_parameters())


def addresses(base):
    return [parameter.data_ptr() for parameter in base.unet.parameters()]


@pytest.fixture
def keeping(base):
    base.swap.keeps = True
    yield base
    base.swap.keeps = False
    base.swap.release()


def test_a_kept_style_is_exchanged_in_place_and_taken_off_bit_for_bit(keeping):
    before, places = weights(keeping), addresses(keeping)
    adapters = [strong_adapter(keeping, seed) for seed in (1, 2)]
    alone = []
    for adapter in adapters:
        with applied(keeping.unet, adapter):
            alone.append(predict(keeping))
    for index in (0, 1, 0):
        with style_on(keeping, adapters[index]):
            assert torch.equal(predict(keeping), alone[index])
        assert not unchanged(keeping, before)
        assert addresses(keeping) == places
    with style_on(keeping, None):
        assert unchanged(keeping, before)
    with style_on(keeping, adapters[1]):
        pass
    keeping.swap.release()
    assert unchanged(keeping, before)
    assert keeping.swap.kept_bytes == 0


def test_the_style_at_hand_is_not_written_again(keeping, monkeypatch):
    adapter, other = strong_adapter(keeping, 1), strong_adapter(keeping, 2)
    written = []
    real = torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *given, **options: written.append(1) or real(*given, **options))
    with style_on(keeping, adapter):
        pass
    once = len(written)
    assert once == len(adapter.layers)
    with style_on(keeping, adapter):
        pass
    assert len(written) == once
    with style_on(keeping, other):
        pass
    assert len(written) == 2 * once
    # W0 of the layers that a style has, once, whatever was asked for.
    size = sum(keeping.unet.get_submodule(name).weight.nbytes for name in adapter.layers)
    assert keeping.swap.kept_bytes == size


def test_styles_of_other_layers_leave_nothing_of_the_one_before(keeping):
    adapter = strong_adapter(keeping, 1)
    names = list(adapter.layers)
    halves = [
        Adapter({key: value for key, value in adapter.tensors.items() if any(name in key for name in part)}, {})
        for part in (names[:9], names[5:])
    ]
    with applied(keeping.unet, halves[1]):
        alone = predict(keeping)
    for half in halves:
        with style_on(keeping, half):
            last = weights(keeping)
    with style_on(keeping, halves[1]):
        assert unchanged(keeping, last)
        assert torch.equal(predict(keeping), alone)


def test_by_itself_a_context_leaves_the_plain_base(base):
    before = weights(base)
    outer, inner = strong_adapter(base, 1), strong_adapter(base, 2)
    with style_on(base, outer):
        styled = weights(base)
        with style_on(base, inner):
            assert not unchanged(base, styled)
        assert unchanged(base, styled)
        with pytest.raises(RuntimeError, match="stop"), style_on(base, inner):
            raise RuntimeError("stop")
        assert unchanged(base, styled)
    assert unchanged(base, before)
    assert base.swap.kept_bytes == 0


def test_several_loras_lie_on_the_weights_at_once(base):
    first, second = strong_adapter(base, 1), strong_adapter(base, 2)
    swap = WeightSwap(base.unet)
    with swap.on((first.layers, 1.0), (second.layers, 0.5)):
        both = weights(base)
    with applied(base.unet, first), applied(base.unet, second, 0.5):
        for name, parameter in base.unet.named_parameters():
            assert torch.allclose(parameter, both[name], atol=1e-5)


def test_what_does_not_fit_changes_nothing(keeping):
    good = strong_adapter(keeping, 1)
    key = list(good.tensors)[-1]
    bad = Adapter({**good.tensors, key: torch.zeros(99, 4)}, {})
    with style_on(keeping, good):
        styled = weights(keeping)
    with pytest.raises(AdapterError, match="another size"), style_on(keeping, bad):
        pass
    assert unchanged(keeping, styled)
    with (
        pytest.raises(AdapterError, match="no layer"),
        style_on(
            keeping,
            Adapter(
                {"unet.nowhere.lora_A.weight": torch.zeros(1, 1), "unet.nowhere.lora_B.weight": torch.zeros(1, 1)}, {}
            ),
        ),
    ):
        pass
    assert unchanged(keeping, styled)


def test_convolutions_are_merged_too(base):
    name = next(
        name
        for name, module in base.unet.named_modules()
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)
    )
    weight = base.unet.get_submodule(name).weight
    a, b = torch.randn(2, weight[0].numel()), torch.randn(len(weight), 2)
    before = weight.clone()
    with WeightSwap(base.unet).on(({name: (a, b)}, 0.5)):
        assert torch.allclose(weight, before + 0.5 * (b @ a).view(weight.shape), atol=1e-5)
    assert torch.equal(weight, before)


def test_renders_of_a_warm_worker_are_those_of_a_cold_one(keeping):
    from tests.engine.test_infer import REQUEST

    adapters = [strong_adapter(keeping, 1), None, strong_adapter(keeping, 2), None]
    warm = [Renderer(keeping).render(adapter, REQUEST)[0].patch.tobytes() for adapter in adapters]
    keeping.swap.release()
    keeping.swap.keeps = False
    cold = [Renderer(keeping).render(adapter, REQUEST)[0].patch.tobytes() for adapter in adapters]
    assert warm == cold
