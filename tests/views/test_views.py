"""Views against torchvision: the same crops, the same filter, the same factors; and keyed by
nothing but the sample.

torchvision works on one image at a time and draws from a stream; ours works on padded batches and
draws by key. What is compared is therefore the map for given parameters, and the distribution of
the parameters.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tvf

from headwater import keys, views
from headwater.study import Augmentation
from headwater.views import ViewMaker, blur, centre_view, jitter, normalise, random_boxes, resample
from tests.toy import BF16
from tests.views.batches import MEAN, STD, padded, photo, sample_of, unnormalised

NOTHING = Augmentation(
    crop_min=1.0, flip=0.0, jitter=0.0, jitter_probability=0.0, grey=0.0, blur=0.0
)
EVERYTHING = Augmentation(
    crop_min=0.2, flip=0.5, jitter=0.5, jitter_probability=0.8, grey=0.2, blur=0.5
)


@pytest.mark.parametrize("size", [12, 32, 71])
def test_resampling_equals_torchvisions_antialiased_crop_on_padded_batches(size):
    """12 px scales all boxes down but the smallest, 71 px scales all up but the largest; boxes
    touch the borders of their images.
    """
    images = [
        photo(40, 40, 0),
        photo(40, 57, 1),
        photo(63, 40, 2),
        photo(100, 90, 3),
        photo(40, 40, 4),
        photo(50, 49, 5),
    ]
    boxes = [
        (0, 0, 40, 40),
        (3, 20, 31, 37),
        (60, 0, 3, 5),
        (10, 4, 90, 86),
        (7, 9, 1, 30),
        (0, 17, 50, 32),
    ]
    batch, _ = padded(images)
    ours = resample(batch, torch.tensor(boxes, dtype=torch.float32), size)
    for i, (image, box) in enumerate(zip(images, boxes, strict=True)):
        theirs = tvf.resized_crop(
            image.permute(2, 0, 1).float(), *box, [size, size], antialias=True
        )
        assert (ours[i] - theirs).abs().max() < 1e-3 * 255


def test_a_flip_mirrors_the_view_exactly():
    batch, _ = padded([photo(40, 50), photo(40, 50)])
    boxes = torch.tensor([[2.0, 5.0, 30.0, 41.0]] * 2)
    x = resample(batch, boxes, 32, flip=torch.tensor([True, False]))
    plain = resample(batch, boxes, 32)
    assert torch.equal(x[0], plain[0].flip(-1))
    assert torch.equal(x[1], plain[1])


@pytest.mark.parametrize(
    ("height", "width"), [(40, 40), (40, 57), (63, 40), (41, 40), (40, 45), (33, 32), (20, 90)]
)
def test_the_test_transform_equals_torchvisions_centre_crop_and_resize(height, width):
    image = photo(height, width)
    batch, sizes = padded([image, photo(100, 100)])
    side = min(height, width)
    theirs = tvf.resize(
        tvf.center_crop(image.permute(2, 0, 1).float(), [side, side]), [32, 32], antialias=True
    )
    theirs = tvf.normalize(theirs / 255, MEAN.flatten().tolist(), STD.flatten().tolist())
    assert (centre_view(batch, sizes, 32)[0] - theirs).abs().max() < 1e-3 / 0.225


@pytest.mark.parametrize(
    ("height", "width", "crop_min"),
    [(40, 40, 0.08), (40, 40, 0.5), (40, 64, 0.2), (90, 40, 0.2), (224, 300, 0.08)],
)
def test_crops_are_distributed_as_torchvisions(height, width, crop_min):
    n = 3000
    u = torch.from_numpy(keys.uniform(1, keys.sample_hashes([str(i) for i in range(n)]), 22))
    ours = (
        random_boxes(u, torch.tensor([[height, width]]).expand(n, 2), crop_min=crop_min)
        .double()
        .numpy()
    )
    torch.manual_seed(0)
    image = torch.zeros(1, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [crop_min, 1.0], [3 / 4, 4 / 3]) for _ in range(n)],
        dtype=float,
    )
    assert (ours == ours.round()).all()
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] + ours[:, 2:] <= [height, width]).all()

    def described(boxes: np.ndarray) -> list[np.ndarray]:
        top, left, h, w = boxes.T
        return [h * w, np.log(h / w), top, left, h, w]

    for a, b in zip(described(ours), described(theirs), strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-4


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10), (9, 31), (1, 7), (40, 40)])
def test_where_no_crop_fits_the_largest_centred_box_is_taken_as_in_torchvision(height, width):
    """A crop of the whole area fits a long image at no aspect within the range, so every draw falls
    back.
    """
    u = torch.from_numpy(keys.uniform(1, keys.sample_hashes([str(i) for i in range(50)]), 22))
    ours = random_boxes(u, torch.tensor([[height, width]]).expand(50, 2), crop_min=1.0)
    theirs = RandomResizedCrop.get_params(torch.zeros(1, height, width), [1.0, 1.0], [3 / 4, 4 / 3])
    assert {tuple(box) for box in ours.tolist()} == {tuple(float(v) for v in theirs)}


def test_crop_offsets_reach_both_ends_and_never_go_beyond():
    top = torch.zeros(2, 22)
    top[1] = 1 - 2.0**-24  # the largest uniform that keys gives
    top[:, :10], top[:, 10:20] = 0.0, 0.5
    for side in (3, 40, 64, 65, 127, 128, 1000, 4097):
        boxes = random_boxes(top, torch.tensor([[side, side]] * 2), crop_min=0.25)
        assert boxes[0, :2].tolist() == [0, 0]
        assert torch.equal(
            boxes[1, :2] + boxes[1, 2:], torch.tensor([side, side], dtype=torch.float32)
        )


@pytest.mark.parametrize("augmentation", [EVERYTHING, NOTHING])
def test_a_view_does_not_depend_on_the_batch_that_it_comes_in(augmentation):
    """Draws are bit-equal; pixels agree to 2e-6, since matrix products of other shapes may add in
    another order.
    """
    maker = ViewMaker(augmentation, 32, seed=4)
    images, sizes, hashes, epochs = sample_of(12)
    whole = maker(images, sizes, hashes, epochs, 0)
    wide, wide_sizes = padded([*images, photo(80, 90)], fill=0)
    bigger = maker(wide, wide_sizes, np.append(hashes, 5), np.append(epochs, 0), 0)[:12]
    for subset in ([3], [7, 2], [11, 0, 5, 6, 1]):
        alone = maker(images[subset], sizes[subset], hashes[subset], epochs[subset], 0)
        torch.testing.assert_close(alone, whole[subset], atol=2e-6 / 0.224, rtol=0)
        assert torch.equal(
            maker._uniforms(hashes[subset], epochs[subset], 0),
            maker._uniforms(hashes, epochs, 0)[subset],
        )
    torch.testing.assert_close(bigger, whole, atol=2e-6 / 0.224, rtol=0)
    assert torch.equal(maker(images, sizes, hashes, epochs, 0), whole)


def test_samples_of_two_epochs_in_one_batch_get_the_views_of_their_epochs():
    maker = ViewMaker(EVERYTHING, 32, seed=4)
    images, sizes, hashes, _ = sample_of(6)
    mixed = maker(images, sizes, hashes, np.array([0, 1, 0, 1, 1, 0]), 0)
    for epoch in (0, 1):
        pure = maker(images, sizes, hashes, np.full(6, epoch), 0)
        mine = [i for i in range(6) if [0, 1, 0, 1, 1, 0][i] == epoch]
        torch.testing.assert_close(mixed[mine], pure[mine], atol=1e-5, rtol=0)


def test_views_epochs_seeds_and_purposes_differ():
    images, sizes, hashes, epochs = sample_of(4)
    made = [ViewMaker(EVERYTHING, 32, 0)(images, sizes, hashes, epochs, view) for view in (0, 1)]
    made.append(ViewMaker(EVERYTHING, 32, 0)(images, sizes, hashes, epochs + 1, 0))
    made.append(ViewMaker(EVERYTHING, 32, 1)(images, sizes, hashes, epochs, 0))
    made.append(ViewMaker(EVERYTHING, 32, 0, "finetune augment")(images, sizes, hashes, epochs, 0))
    for i, a in enumerate(made):
        for b in made[:i]:
            assert ((a - b).abs().amax(dim=(1, 2, 3)) > 0.1).all()


def test_no_augmentation_is_the_test_transform():
    images, sizes, hashes, epochs = sample_of(5)
    torch.testing.assert_close(
        ViewMaker(NOTHING, 32, 0)(images, sizes, hashes, epochs, 0),
        centre_view(images, sizes, 32),
        atol=1e-6,
        rtol=0,
    )
    torch.testing.assert_close(
        ViewMaker(Augmentation(), 32, 0)(images, sizes, hashes, epochs, 0),
        centre_view(images, sizes, 32),
        atol=1e-6,
        rtol=0,
    )


@pytest.mark.parametrize("changed", ["jitter", "blur", "grey"])
def test_an_operation_with_probability_zero_changes_nothing(changed):
    images, sizes, hashes, epochs = sample_of(5)
    never = {
        "jitter": {"jitter": 1.0, "jitter_probability": 0.0},
        "blur": {"blur": 0.0},
        "grey": {"grey": 0.0},
    }[changed]
    crops = {"crop_min": 0.3, "flip": 0.5}
    with_it, without = (
        ViewMaker(Augmentation(**crops, **more), 32, 0)(images, sizes, hashes, epochs, 0)
        for more in (never, {})
    )
    assert torch.equal(with_it, without)


@pytest.mark.slow
def test_flips_greys_jitters_and_blurs_come_at_their_rates():
    """1500 views of one image; each rate within 4 binomial standard errors of what was asked."""
    n = 1500
    image = photo(16, 16, 3)
    images, sizes = image.expand(n, -1, -1, -1), torch.tensor([[16, 16]]).expand(n, 2)
    hashes, epochs = keys.sample_hashes([str(i) for i in range(n)]), np.zeros(n, dtype=np.int64)

    def changed(size: int = 16, **words: float) -> torch.Tensor:
        x = ViewMaker(Augmentation(crop_min=1.0, **words), size, 0)(
            images, sizes, hashes, epochs, 0
        )
        return (x - centre_view(image[None], sizes[:1], size)).abs().amax(dim=(1, 2, 3)) > 1e-4

    def within(rate: float, of: int) -> object:
        return pytest.approx(rate, abs=4 * (rate * (1 - rate) / of) ** 0.5)

    for rate, words in (
        (0.5, {"flip": 0.5}),
        (0.1, {"flip": 0.1}),
        (0.2, {"grey": 0.2}),
        (0.8, {"jitter": 0.5, "jitter_probability": 0.8}),
    ):
        assert float(changed(**words).float().mean()) == within(rate, n)
    assert changed(flip=1.0).all()
    assert changed(grey=1.0).all()
    visible = changed(64, blur=1.0)  # a blur of less than about 0.25 px changes no pixel
    assert visible.float().mean() > 0.5
    assert float(changed(64, blur=0.3)[visible].float().mean()) == within(0.3, int(visible.sum()))


def test_gates_are_independent_of_one_another():
    n = 4000
    u = ViewMaker(EVERYTHING, 32, 0)._uniforms(
        keys.sample_hashes([str(i) for i in range(n)]), np.zeros(n, dtype=np.int64), 0
    )
    off_diagonal = np.corrcoef(u.double().numpy().T)[np.triu_indices(u.shape[1], 1)]
    assert u.shape[1] == 31
    assert np.abs(off_diagonal).max() < 5 / n**0.5  # 465 pairs


def uniforms_for(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.0, 1.3, 1.75])
@pytest.mark.parametrize(
    ("which", "adjust"),
    [(0, tvf.adjust_brightness), (1, tvf.adjust_contrast), (2, tvf.adjust_saturation)],
)
def test_brightness_contrast_and_saturation_equal_torchvisions_for_a_given_factor(
    which, adjust, factor
):
    """torchvision rounds the luma weight of red to 0.2989, which is worth 1e-4."""
    x = torch.rand(3, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    u = torch.full((3, 4), 0.5)
    u[:, which] = uniforms_for(factor, 0.2, 1.8)
    torch.testing.assert_close(
        jitter(x, u, strength=1.0, on=torch.ones(3, dtype=torch.bool)),
        adjust(x, factor),
        atol=3e-4,
        rtol=0,
    )


def test_jitter_runs_brightness_then_contrast_then_saturation():
    x = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    u = torch.tensor([[uniforms_for(f, 0.6, 1.4) for f in (0.7, 1.3, 1.2)] + [0.5]] * 2)
    theirs = tvf.adjust_saturation(tvf.adjust_contrast(tvf.adjust_brightness(x, 0.7), 1.3), 1.2)
    torch.testing.assert_close(
        jitter(x, u, strength=0.5, on=torch.ones(2, dtype=torch.bool)), theirs, atol=3e-4, rtol=0
    )


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.25, 2.0])
def test_factors_are_uniform_between_torchvisions_bounds(strength):
    """ColorJitter(0.8 s) draws from [max(0, 1 - 0.8 s), 1 + 0.8 s]; the factor is read off a dark
    grey image, which brightness scales.
    """
    u = torch.full((1001, 4), 0.5)
    u[:, 0] = torch.linspace(0, 1, 1001)
    u[:, 1:3] = uniforms_for(1.0, max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength)
    factors = (
        jitter(
            torch.full((1001, 3, 1, 1), 0.1),
            u,
            strength=strength,
            on=torch.ones(1001, dtype=torch.bool),
        )[:, 0, 0, 0]
        / 0.1
    )
    torch.testing.assert_close(
        factors,
        torch.linspace(max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength, 1001),
        atol=1e-5,
        rtol=0,
    )


def test_hue_keeps_luma_turns_colours_and_leaves_grey_alone():
    generator = torch.Generator().manual_seed(0)
    # far enough from black and white not to be clamped
    x = 0.4 + 0.2 * torch.rand(64, 3, 4, 4, generator=generator)
    u = torch.full((64, 4), 0.5)
    u[:, 3] = torch.linspace(0, 1, 64)
    turned = jitter(x, u, strength=0.5, on=torch.ones(64, dtype=torch.bool))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close((turned * luma).sum(1), (x * luma).sum(1), atol=1e-5, rtol=0)
    assert (turned[0] - x[0]).abs().max() > 0.05
    grey = torch.rand(64, 1, 4, 4, generator=generator).expand(64, 3, 4, 4)
    torch.testing.assert_close(
        jitter(grey, u, strength=0.5, on=torch.ones(64, dtype=torch.bool)), grey, atol=1e-5, rtol=0
    )
    opposite = jitter(turned, 1 - u, strength=0.5, on=torch.ones(64, dtype=torch.bool))
    torch.testing.assert_close(opposite, x, atol=1e-5, rtol=0)


def test_jitter_spares_images_whose_gate_is_closed():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 8, 8, generator=generator)
    on = torch.tensor([True, False, True, False])
    out = jitter(x, torch.rand(4, 4, generator=generator), strength=1.0, on=on)
    torch.testing.assert_close(out[~on], x[~on], atol=1e-6, rtol=0)
    assert (out[on] - x[on]).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_grey_equals_torchvisions():
    images, sizes, hashes, epochs = sample_of(3)
    ours = unnormalised(ViewMaker(Augmentation(grey=1.0), 32, 0)(images, sizes, hashes, epochs, 0))
    theirs = tvf.rgb_to_grayscale(
        unnormalised(centre_view(images, sizes, 32)), num_output_channels=3
    )
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


@pytest.mark.parametrize("u", [0.0, 0.3, 1.0])
def test_blur_equals_a_gaussian_convolution_in_the_interior_and_keeps_flat_images_flat(u):
    size = 112
    sigma = (0.1 + 1.9 * u) * size / 224
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    ours = blur(x, torch.full((2,), u), on=torch.tensor([True, False]))
    theirs = tvf.gaussian_blur(x, [25, 25], [sigma, sigma])
    torch.testing.assert_close(
        ours[0, :, 13:-13, 13:-13], theirs[0, :, 13:-13, 13:-13], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(ours[1], x[1], atol=1e-6, rtol=0)
    flat = torch.full((1, 3, size, size), 0.3)
    torch.testing.assert_close(
        blur(flat, torch.tensor([u]), on=torch.tensor([True])), flat, atol=1e-6, rtol=0
    )


def test_views_are_normalised_with_imagenets_statistics_in_channels_last_memory():
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = normalise(x)
    torch.testing.assert_close(ours, tvf.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    images, sizes, hashes, epochs = sample_of(2)
    for view in (
        ours,
        centre_view(images, sizes, 32),
        ViewMaker(EVERYTHING, 32, 0)(images, sizes, hashes, epochs, 0),
    ):
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert view.dtype == torch.float32
    from timm import data as timm_data

    assert views.MEAN == timm_data.IMAGENET_DEFAULT_MEAN
    assert views.STD == timm_data.IMAGENET_DEFAULT_STD


def test_views_stay_within_the_range_of_colours():
    images, sizes, hashes, epochs = sample_of(50)
    x = unnormalised(ViewMaker(EVERYTHING, 32, 0)(images, sizes, hashes, epochs, 0))
    assert x.min() > -1e-5
    assert x.max() < 1 + 1e-5


def test_views_are_made_in_full_precision_inside_autocast_too():
    """Fine-tuning and evaluation make them there; bf16 would round a pixel by up to 0.4 %."""
    images, sizes, hashes, epochs = sample_of(5)
    maker = ViewMaker(EVERYTHING, 32, 0)
    outside = maker(images, sizes, hashes, epochs, 0), centre_view(images, sizes, 32)
    with BF16.autocast():
        inside = maker(images, sizes, hashes, epochs, 0), centre_view(images, sizes, 32)
    for a, b in zip(outside, inside, strict=True):
        assert torch.equal(a, b)
