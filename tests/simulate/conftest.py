import pytest

from bids_qsmthal import simulate
from bids_qsmthal.qsm import Acquisition

SMALL = simulate.Protocol(
    name="small",
    voxel_size_mm=(4.0, 4.0, 4.0),
    shape=(44, 53, 34),
    oversampling=(2, 2, 2),
    acquisition=Acquisition(echo_times_s=(0.004, 0.008, 0.012), field_strength_t=3.0),
    repetition_time_s=0.03,
    flip_angle_deg=15.0,
)


@pytest.fixture(scope="session")
def small_parameters() -> simulate.Parameters:
    return simulate.Parameters(
        protocol=SMALL,
        t1w_voxel_mm=2.0,
        scale=0.9,
        oblique_deg=20.0,
        lesion_ml=12.0,
        enhancing=1,
        snr=200.0,
    )


@pytest.fixture(scope="session")
def small_participant(small_parameters) -> simulate.Participant:
    return simulate.participant(small_parameters, 11)
