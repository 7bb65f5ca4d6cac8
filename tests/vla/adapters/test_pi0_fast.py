"""LeRobot's π0-FAST network, tiny and with random weights, keeps the laws of a `TokenPolicy`."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_pi0_fast
import torch
from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature
from lerobot.processor import NormalizerProcessorStep, UnnormalizerProcessorStep
from torch import nn

from hardware.errors import BadInput
from vla import fast_tokens
from vla.adapters import pi0_fast_folder
from vla.adapters.pi0_fast import WORD_MASK, WORDS, Pi0FastPolicy, Vocabulary
from vla.normalise import Normaliser, Quantiles
from vla.policy import Batch, Interface, ObservationBatch, TokenPolicy

PX, H, D, WIDTH = tiny_pi0_fast.PX, tiny_pi0_fast.H, tiny_pi0_fast.D, tiny_pi0_fast.WIDTH
pytestmark = pytest.mark.filterwarnings("default")


class Words:
    """A tokenizer with the four members that are asked for."""

    bos_token_id = 2

    def __init__(self, vocab_size: int = tiny_pi0_fast.WORDS) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [11, 12]

    def convert_tokens_to_ids(self, word: str) -> int:
        return {"|": 13}[word]


def network() -> nn.Module:
    from lerobot.policies.pi0_fast import modeling_pi0_fast as modeling

    config: Any = SimpleNamespace(paligemma_variant="tiny", dtype="float32", compile_model=False)
    with tiny_pi0_fast.shrunk(depth=1):
        return modeling.PI0FastPytorch(config, paligemma_tokenizer=None)


class Wrapped(nn.Module):
    """What `PI0FastPolicy` adds to its network, without the tokenizers that it downloads."""

    name, config = "pi0_fast", SimpleNamespace(type="pi0_fast", device="cpu")

    def __init__(self) -> None:
        super().__init__()
        self.model = network()

    def _preprocess_images(self, batch: dict):
        picture = batch["observation.images.front"] * 2 - 1
        return [picture], [torch.ones(len(picture), dtype=torch.bool)]


def words_of(batch: dict) -> dict:
    """A sentence of three words, the second row's shorter and padded."""
    rows = len(batch["observation.images.front"])
    words = torch.tensor([[5, 6, 7], [8, 0, 0]])[torch.arange(rows) % 2]
    return batch | {WORDS: words, WORD_MASK: words > 0}


@pytest.fixture(scope="module")
def policy() -> Pi0FastPolicy:
    torch.manual_seed(0)
    steps = np.random.default_rng(0).normal(scale=0.2, size=(200, H, D))
    fast = fast_tokens.fit(np.clip(np.cumsum(steps, axis=1), -1, 1).astype(np.float32), vocabulary=96)
    names = ("x", "y")
    interface = Interface(cameras=("front",), state_names=names, action_names=names, rate_hz=10, horizon_steps=H)
    actions = Normaliser({"arm": Quantiles(low=(9.0, -2.0), high=(11.0, 2.0))})
    vocabulary = Vocabulary.of(Words(), 128, fast.vocabulary)
    return Pi0FastPolicy(Wrapped(), words_of, lambda chunk: chunk, interface, fast, vocabulary, actions).eval()


def seen(rows: int = 2) -> ObservationBatch:
    rng = np.random.default_rng(1)
    images = {"front": rng.integers(0, 255, (rows, PX, PX, 3), np.uint8)}
    return ObservationBatch(rng.normal(size=(rows, D)).astype(np.float32), images, ("push",) * rows)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_cached_and_uncached_log_probabilities_are_equal(policy: Pi0FastPolicy, temperature: float) -> None:
    assert isinstance(policy, TokenPolicy)
    drawn = policy.sample(seen(), 3, temperature, seed=4)
    again = policy.log_probabilities(seen(), drawn.tokens, temperature)
    assert drawn.mask.any()
    torch.testing.assert_close(again, drawn.log_probabilities, atol=2e-4, rtol=2e-4)
    assert torch.equal(drawn.tokens, policy.sample(seen(), 3, temperature, seed=4).tokens)


def test_a_chunk_acts_whole_and_near_its_range(policy: Pi0FastPolicy) -> None:
    chunk = policy.act(seen())
    assert chunk.shape == (2, H, D)
    np.testing.assert_allclose(policy.act(seen(1))[0], chunk[0], atol=1e-4)


def test_tokens_decode_to_what_they_were_made_of(policy: Pi0FastPolicy) -> None:
    shape = np.linspace(-0.5, 0.5, H)[None, :, None].repeat(D, axis=2)
    actions = (shape * [1.0, 2.0] + [10.0, 0.0]).astype(np.float32)
    back, valid = policy.detokenise(policy.tokenise(actions))
    assert valid.all()
    assert np.sqrt(np.mean(((back - actions) / [1.0, 2.0]) ** 2)) <= policy.fast.rms_bound


def test_a_step_of_learning_makes_the_demonstration_likelier(policy: Pi0FastPolicy) -> None:
    actions = np.full((2, H, D), [10.3, 0.5], np.float32)
    batch = Batch(seen(), actions, np.zeros((2, H), bool))
    before = policy.loss(batch, 0)
    optimiser = torch.optim.SGD(policy.parameters(), lr=0.05)
    before.total.backward()
    optimiser.step()
    assert policy.loss(batch, 0).parts["total"] < before.parts["total"]


def test_the_words_of_the_action_tokens_are_those_of_lerobot() -> None:
    """`vocab_size − 1 − skipped − token`, as LeRobot's own tokenizer step turns them."""
    vocabulary = Vocabulary.of(Words(257_000), 128, 3)
    assert vocabulary.said.tolist() == [256_871, 256_870, 256_869, 13]
    assert vocabulary.prefix.tolist() == [2, 11, 12]


def test_what_it_sees_is_embedded(policy: Pi0FastPolicy) -> None:
    embedded = policy.embed(seen())
    assert embedded.shape == (2, WIDTH)
    assert (embedded[0] - embedded[1]).abs().max() > 1e-6


def test_lerobots_ranges_of_the_actions_become_ours() -> None:
    """Mean 10, deviation 2: 8 becomes −1 and 12 becomes +1, as LeRobot's own step has it."""
    feature = PolicyFeature(type=FeatureType.ACTION, shape=(1,))
    stats = {"action": {"mean": torch.tensor([10.0]), "std": torch.tensor([2.0])}}
    step = UnnormalizerProcessorStep({"action": feature}, {FeatureType.ACTION: NormalizationMode.MEAN_STD}, stats)
    ours = pi0_fast_folder.action_ranges(SimpleNamespace(steps=[step]))
    np.testing.assert_allclose(ours.denormalise(np.array([[-1.0], [0.25], [1.0]])), [[8.0], [10.5], [12.0]])
    with pytest.raises(BadInput, match="no statistics of the actions"):
        pi0_fast_folder.action_ranges(SimpleNamespace(steps=[]))
    with pytest.raises(BadInput, match="cannot be read here"):
        pi0_fast_folder.bounds(NormalizationMode.IDENTITY, {})


@pytest.mark.parametrize(
    "mode", [NormalizationMode.MEAN_STD, NormalizationMode.MIN_MAX, NormalizationMode.QUANTILES]
)
def test_an_action_that_never_moves_is_read_as_lerobot_reads_it(mode: NormalizationMode) -> None:
    feature = PolicyFeature(type=FeatureType.ACTION, shape=(2,))
    moving, still = torch.tensor([1.0, 0.3]), torch.tensor([3.0, 0.3])
    stats = {"mean": moving, "std": still - moving, "min": moving, "max": still, "q01": moving, "q99": still}
    settings = {"action": feature}, {FeatureType.ACTION: mode}, {"action": stats}
    ours = pi0_fast_folder.action_ranges(SimpleNamespace(steps=[UnnormalizerProcessorStep(*settings)]))
    actions = torch.tensor([[2.5, 0.3]])
    theirs = NormalizerProcessorStep(*settings)._apply_transform(actions, "action", FeatureType.ACTION)
    np.testing.assert_allclose(ours.normalise(actions.numpy()), theirs, atol=1e-6)
    np.testing.assert_allclose(ours.denormalise(theirs.numpy()), actions, atol=1e-6)
