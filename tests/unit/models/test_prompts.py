import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.models.prompts import BUILT_IN, read_prompts

MURA = {"XR_ELBOW", "XR_FINGER", "XR_FOREARM", "XR_HAND", "XR_HUMERUS", "XR_SHOULDER", "XR_WRIST"}


def written(tmp_path, text):
    path = tmp_path / "prompts.toml"
    path.write_text(text)
    return path


def test_the_built_in_prompts_name_every_region_in_every_sentence():
    prompts = read_prompts()
    regions = prompts.chosen(())

    assert MURA | {"XR_KNEE", "XR_HIP", "XR_ANKLE", "XR_FOOT"} <= set(regions)
    for region in (None, *regions):
        sentences = prompts.sentences(region)
        noun = prompts._of(region).name.split()[-1]
        assert len(sentences.abnormal) >= 5
        assert len(sentences.normal) >= 5
        assert len(set(sentences.abnormal + sentences.normal)) == len(sentences.abnormal + sentences.normal)
        for text in (*sentences.abnormal, *sentences.normal, prompts.question(region)):
            assert noun in text
            assert "{" not in text


def test_the_chosen_regions_are_sorted_and_must_be_there():
    prompts = read_prompts()
    assert prompts.chosen(["XR_WRIST", "XR_KNEE"]) == ("XR_KNEE", "XR_WRIST")
    with pytest.raises(ConfigurationError, match="no prompts for XR_TAIL"):
        prompts.chosen(["XR_TAIL"])


def test_what_a_region_leaves_out_is_the_defaults(tmp_path):
    prompts = read_prompts(
        written(
            tmp_path,
            '[default]\nname = "bone"\nabnormal = ["a broken {region}"]\nnormal = ["a whole {region}"]\n'
            '[regions.XR_KNEE]\nname = "knee"\nnormal = ["a fine {region}"]\nquestion = "is the {region} broken?"\n',
        )
    )
    assert prompts.sentences("XR_KNEE").abnormal == ("a broken knee",)
    assert prompts.sentences("XR_KNEE").normal == ("a fine knee",)
    assert prompts.sentences(None).normal == ("a whole bone",)
    assert prompts.question("XR_KNEE") == "is the knee broken?"
    with pytest.raises(ConfigurationError, match="no question for default"):
        prompts.question(None)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[default", "is no file of prompts"),
        ('[default]\nname = "bone"\nabnormall = ["x"]', r"default\.abnormall: Extra inputs"),
        ('[default]\nname = "bone"\n[regions.knee]\nname = "knee"', r"regions\.knee"),
        ('[regions.XR_KNEE]\nname = "knee"', "default: Field required"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path, text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        read_prompts(written(tmp_path, text))


def test_a_class_without_sentences_is_refused(tmp_path):
    prompts = read_prompts(written(tmp_path, '[default]\nname = "bone"\nabnormal = ["a broken {region}"]'))
    with pytest.raises(ConfigurationError, match="no normal sentences for default"):
        prompts.sentences(None)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is no file of prompts"):
        read_prompts(tmp_path / "absent.toml")
    assert BUILT_IN.is_file()
