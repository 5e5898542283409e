"Headless Chromium for the tests that look at a page."
import os
import shutil
import time

import pytest

BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
DRIVER = shutil.which('chromedriver')
FLAGS = ('headless', 'no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update', 'disable-sync')


def open_browser(size='1200,1100'):
    "A browser; skips, saying what is missing, where there can be none"
    pytest.importorskip('selenium')
    if not (BROWSER and DRIVER):
        pytest.skip('no Chromium with its driver on this machine')
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f'window-size={size}'):
        options.add_argument(f'--{flag}')
    options.set_capability('goog:loggingPrefs', {'performance': 'ALL', 'browser': 'ALL'})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


def wait_for(ask, seconds=30, what='the page did not change in time'):
    "The first true answer of `ask`"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.2)
    pytest.fail(what)


def keep_screenshot(driver, name):
    "Into the folder that RTSD_SCREENSHOTS names, if it names one"
    if folder := os.environ.get('RTSD_SCREENSHOTS'):
        os.makedirs(folder, exist_ok=True)
        driver.save_screenshot(f'{folder}/{name}.png')
