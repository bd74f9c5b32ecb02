@faults @kubernetes @gate
Feature: Rolling back while a pod is killed

  A machine kills a pod for want of memory just when all of them are replaced. Whoever keeps their number must not bring back
  one of the release that goes.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: It is gone before the first one is replaced
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And a pod of stand is killed while it is rolled back
    Then service is restored within 5 minutes
    And every instance serves the target release
