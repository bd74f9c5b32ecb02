@kubernetes @gate
Feature: Rolling back by a flag

  A flag in a ConfigMap turned happy hour on. Pods see a change of it without being started anew, each when its
  kubelet brings it: the rollback has ended when every one sees it off.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: Every pod sees the flag off
    When release "v2-happy-hour" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
