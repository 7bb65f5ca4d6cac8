"""The actor–critic's two losses by hand where they can be, and that one follows the other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

from hardware.bench.tasks.start import TaskStart
from hardware.errors import BadInput
from rl_online.actor import ActOnline, Actor
from rl_online.learning import embedding
from rl_online.learning.agent import Agent, copies, take_weights
from rl_online.learning.critic import CriticSize
from rl_online.learning.env import ChunkEnv
from rl_online.learning.presets import PRESETS, ActorWeights, Algorithm, Rewards
from rl_online.learning.replay import Transitions, joined
from rl_online.learning.rollout import ChunkStep, Rollout, row_of
from tests.rl_online.slider import SliderWorld, interface
from tests.rl_online.transitions import some
from tests.vla import small_policy
from vla.demonstrations import Demonstration

QUICK = PRESETS["twinrl"].but(critic=CriticSize(width=32), actor_rate=1e-3, critic_rate=1e-2, critic_warm_up=0)


def agent(algorithm: Algorithm = QUICK, seed: int = 0) -> Agent:
    return Agent(policy(), algorithm, seed)


def policy():
    made = small_policy.policy()
    config = made.config.but(interface=small_policy.interface((), language=False))
    return type(made)(config, made.fast, 0).eval()


def rows(count: int, made: Agent, **changes: object) -> Transitions:
    batch = some(count, 1, "policy", made.shape)
    return Transitions(**(batch.columns() | changes))


def test_the_target_of_a_terminal_chunk_is_its_reward_alone():
    made = agent()
    terminated = np.zeros((1, made.shape.horizon_steps), bool)
    terminated[0, 1] = True
    rewards = np.zeros((1, made.shape.horizon_steps), np.float32)
    rewards[0, :3] = (-0.05, 10.0, 99.0)
    tensors = made.rows(rows(1, made, terminated=terminated, rewards=rewards))
    assert float(tensors.reward[0]) == pytest.approx(-0.05 + 0.98 * 10)
    assert float(tensors.bootstrap[0]) == 0.0


def test_only_what_is_worth_it_is_imitated():
    made = agent()
    batch = rows(4, made, imitate=np.array([True, False, False, False]))
    scales, drawn = made.policy.consistency_head.draw(4, torch.Generator().manual_seed(5))
    tensors = made.rows(batch)
    expected = made.policy.consistency_head.loss(
        made.context(tensors), tensors.actions, tensors.padded, scales, drawn
    )[0]
    found = made.actor_losses(tensors, torch.Generator().manual_seed(5))["imitation"]
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_cal_ql_is_part_of_the_offline_loss_only():
    made = agent()
    tensors, noise = made.rows(rows(4, made)), torch.Generator().manual_seed(0)
    assert set(made.critic_losses(tensors, "offline", noise)) == {"td", "calql"}
    assert set(made.critic_losses(tensors, "online", noise)) == {"td"}


def test_the_actor_climbs_the_critic(monkeypatch: pytest.MonkeyPatch):
    """A critic that likes large first actions (fixed): L_Q alone moves the policy there."""
    made = agent(QUICK.but(online=ActorWeights(imitation=0.0, value=1.0)))
    monkeypatch.setattr(made.critic, "forward", lambda seen, chunk: chunk[:, 0, :1].T)
    batch, noise = made.rows(rows(16, made)), torch.Generator().manual_seed(0)

    def height() -> float:
        return float(made._draw(made.context(batch), torch.Generator().manual_seed(1)).detach()[:, 0, 0].mean())

    before = height()
    for _ in range(20):
        made._update_actor(batch, made.weights_of("online"), noise)
    assert height() > before + 0.05


def test_the_pull_of_the_critic_does_not_hang_on_the_size_of_rewards(monkeypatch: pytest.MonkeyPatch):
    made, losses = agent(), []
    batch = made.rows(rows(8, made))
    for size in (1.0, 50.0):
        monkeypatch.setattr(made.critic, "forward", lambda seen, chunk, size=size: size * (chunk[:, 0, :1].T + 0.3))
        losses.append(float(made.actor_losses(batch, torch.Generator().manual_seed(0))["value"].detach()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_imitation_is_drawn_as_in_supervised_training():
    made = agent()
    batch = made.rows(rows(8, made, imitate=np.ones(8, bool)))
    scales, drawn = made.policy.consistency_head.draw(8, torch.Generator().manual_seed(5))
    expected = made.policy.consistency_head.loss(
        made.context(batch), batch.actions, batch.padded, scales, drawn
    ).mean()
    found = made.actor_losses(batch, torch.Generator().manual_seed(5))["imitation"]
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_stopped_agent_goes_on_exactly(tmp_path: Path):
    whole, first, second = agent(seed=3), agent(seed=3), agent(seed=3)
    batches = [rows(8, whole, id=np.arange(8) + 8 * number) for number in range(4)]
    for batch in batches:
        whole.update(batch, "offline")
    for batch in batches[:2]:
        first.update(batch, "offline")
    first.save(tmp_path / "agent.safetensors")
    second.restore(tmp_path / "agent.safetensors")
    for batch in batches[2:]:
        second.update(batch, "offline")
    assert second.progress == whole.progress
    for one, two in zip(whole.critic.parameters(), second.critic.parameters(), strict=True):
        assert torch.equal(one, two)
    assert whole.published() == second.published()


def test_what_is_inherited_is_what_acted(tmp_path: Path):
    """And goes on learning from there: after the first update, too, the average is near it."""
    first, second = agent(seed=3), agent(seed=4)
    for number in range(8):
        first.update(rows(8, first, id=np.arange(8) + 8 * number), "offline")
    first.save(tmp_path / "agent.safetensors")
    second.inherit(tmp_path / "agent.safetensors")
    assert second.published() == first.published()
    assert all(torch.equal(second.actor[name], acted) for name, acted in first.averaged.items())
    assert not all(torch.equal(second.actor[name], learns) for name, learns in first.actor.items())
    assert second.progress.actor_updates == 0


def test_a_checkpoint_without_averaged_weights_is_refused(tmp_path: Path):
    made, file = agent(), tmp_path / "agent.safetensors"
    made.save(file)
    with safe_open(str(file), framework="pt") as stored:
        told = stored.metadata()
        kept = {name: stored.get_tensor(name) for name in stored.keys() if not name.startswith("averaged.")}  # noqa: SIM118
    save_file(kept, file, told)
    for take in (made.restore, made.inherit):
        with pytest.raises(BadInput, match="another version: 'backbone"):
            take(file)


def test_published_weights_act_as_the_average_of_the_learners():
    made, other = agent(), policy()
    before = copies(made.actor)
    for number in range(2):  # one update of the actor
        made.update(rows(8, made, id=np.arange(8) + 8 * number), "online")
    take_weights(other, made.published())
    acting = embedding.learned(other)
    for name, new in made.actor.items():
        torch.testing.assert_close(acting[name], before[name] + 0.9 * (new - before[name]))  # 1/10 is kept at first
    take_weights(made.policy, made.published())
    seen = small_policy.batch(3, ())
    assert np.array_equal(other.act(seen), made.policy.act(seen))
    with pytest.raises(BadInput, match="do not fit"):
        take_weights(other, b"not safetensors")


def test_weights_of_another_size_change_nothing():
    other, data = policy(), save({name: tensor[..., :1].contiguous() for name, tensor in agent().actor.items()})
    before = copies(embedding.learned(other))
    with pytest.raises(BadInput, match="do not fit"):
        take_weights(other, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in embedding.learned(other).items())


@pytest.mark.parametrize("cameras", [(), ("front", "wrist")])
@pytest.mark.parametrize("language", [False, True])
def test_what_a_replay_keeps_is_enough_to_think_again(cameras: tuple[str, ...], language: bool):
    """The context from half-precision percepts is the policy's own, and what is fixed hangs on no learned weight."""
    made = small_policy.policy()
    config = made.config.but(interface=small_policy.interface(cameras, language=language))
    made = type(made)(config, made.fast, 0).eval()
    seen = small_policy.batch(3, cameras)
    looks, shape = embedding.look(made, [seen]), embedding.replay_shape(made)
    assert (looks.percept.shape[1], looks.known.shape[1], looks.seen.shape[1]) == (
        shape.percept,
        shape.known,
        shape.seen,
    )
    percept, known = torch.from_numpy(looks.percept).float(), torch.from_numpy(looks.known)
    with torch.no_grad():
        found, expected = embedding.context_of(made, percept, known), made.context(made.inputs(seen))
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=1e-2)
    with torch.no_grad():
        for parameter in embedding.learned(made).values():
            parameter.add_(0.1)
    assert np.array_equal(embedding.look(made, [seen]).percept, looks.percept)


def test_what_goes_into_the_replay_hangs_on_no_update(tmp_path: Path):
    """Neither the learner's nor, in an actor, weights that it took; nor after a stop."""
    made, seen = agent(), [small_policy.batch(3, ())]
    before = embedding.look(made.reference, seen).seen
    for number in range(4):
        made.update(rows(8, made, id=np.arange(8) + 8 * number), "online")
    assert not np.allclose(embedding.look(made.policy, seen).seen, before)
    assert np.array_equal(embedding.look(made.reference, seen).seen, before)
    made.save(tmp_path / "agent.safetensors")
    again = agent()
    again.restore(tmp_path / "agent.safetensors")
    assert np.array_equal(embedding.look(again.reference, seen).seen, before)

    env = ChunkEnv(SliderWorld(1), interface(), Rewards(), 0.98)
    actor = Actor(ActOnline(run=tmp_path), policy(), env, "policy")
    take_weights(actor.policy, made.published())
    step = ChunkStep(
        state=np.zeros(2), observed=row_of(seen[0], 0), actions=np.zeros((made.shape.horizon_steps, 2)),
        rewards=np.zeros(made.shape.horizon_steps), terminated=np.zeros(made.shape.horizon_steps, bool), executed=3,
    )  # fmt: skip
    actor.take(
        Rollout(0, TaskStart(x_m=0.0, y_m=0.0, yaw_rad=0.0), [step], timed_out=True, last=row_of(seen[0], 1))
    )
    assert np.allclose(actor.waiting[0].seen, before[:1], atol=1e-6)
    assert np.allclose(actor.waiting[0].next_seen, before[1:2], atol=1e-6)


def test_a_critic_that_knows_nothing_yet_does_not_pull():
    made = agent(QUICK.but(critic_warm_up=2))
    for number in range(2):
        assert made.weights_of("online") == ActorWeights(imitation=QUICK.online.imitation, value=0.0)
        made.update(rows(8, made, id=np.arange(8) + 8 * number), "online")
    assert made.weights_of("online") == QUICK.online


def test_a_demonstration_becomes_chunks_that_end_in_success():
    made = agent()
    steps = 11
    shown = Demonstration(
        "push", np.zeros((steps, 2), np.float32), np.full((steps, 2), 0.5, np.float32), lambda _: None
    )  # type: ignore[arg-type, return-value]
    found = embedding.of_demonstration(shown, made.policy, QUICK, "scripted", "demo/0", stride=4)
    # H = 6: chunks from 0, 4 and 8, of 6, 6 and 3 steps; success is step 10: in the last alone
    assert found.executed.tolist() == [6, 6, 3]
    assert found.terminated.sum(axis=1).tolist() == [0, 0, 1]
    assert found.terminated[2, 2]
    assert found.rewards[2].tolist() == pytest.approx([-0.05, -0.05, 10, 0, 0, 0])
    gamma = 0.98
    assert found.floor[2] == pytest.approx(-0.05 * (1 + gamma) + 10 * gamma**2)
    again = embedding.of_demonstration(shown, made.policy, QUICK, "scripted", "demo/0", stride=4)
    assert np.array_equal(again.id, found.id)
    assert len(joined([found, again])) == 6
