"""The page of rtsd-demo in a real browser: a frame is dropped, the threshold moved, and boxes and names follow.

Needs the extra `demo`, selenium, Chromium and its driver; skipped, saying so, where one is missing.
"""
import numpy as np
import pytest
import torch
from PIL import Image

from browsing import keep_screenshot, open_browser, wait_for
from rtsd_nb.boxes import Detections


class Found:
    "Finds the same two signs in each picture, and counts how often it was asked."
    classes, asked = ('3_24', '5_19_1'), 0

    def __call__(self, image):
        self.asked += 1
        return Detections(torch.tensor([[10., 20, 60, 70], [100, 40, 140, 80]]), torch.tensor([0.9, 0.4]), torch.tensor([0, 1]))


@pytest.mark.slow
def test_a_frame_is_dropped_and_the_threshold_moved(tmp_path):
    pytest.importorskip('gradio')
    pytest.importorskip('selenium')
    from selenium.webdriver.common.by import By
    from rtsd_nb.demo import build_demo
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)).save(tmp_path / 'frame.png')
    found = Found()
    page = build_demo(found, 'Signs')
    _, address, _ = page.launch(server_name='127.0.0.1', server_port=None, quiet=True, prevent_thread_lock=True)
    driver = open_browser()
    try:
        driver.get(address)
        body = lambda: driver.find_element(By.TAG_NAME, 'body').text
        wait_for(lambda: driver.find_elements(By.CSS_SELECTOR, 'input[type=file]'))[0].send_keys(str(tmp_path / 'frame.png'))
        wait_for(lambda: '2 signs, 0 more' in body())
        assert all(name in body() for name in ('Ограничение максимальной скорости', 'Speed limit', 'Пешеходный переход', 'Pedestrian crossing'))
        keep_screenshot(driver, 'demo')
        slider = driver.find_element(By.CSS_SELECTOR, 'input[type=range]')
        driver.execute_script("arguments[0].value = 0.6; arguments[0].dispatchEvent(new Event('input', {bubbles: true})); "
                              "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", slider)
        wait_for(lambda: '1 signs, 1 more' in body())
        assert 'Pedestrian crossing' not in body() and found.asked == 1, 'the network was asked once'
        keep_screenshot(driver, 'demo_moved')
        asked = [entry['message'] for entry in driver.get_log('performance') if '"Network.requestWillBeSent"' in entry['message']]
        assert asked and not [m for m in asked if '"url":"http' in m and '127.0.0.1' not in m.split('"url":"http', 1)[1][:40]], 'nothing leaves this machine'
    finally:
        driver.quit()
        page.close()
