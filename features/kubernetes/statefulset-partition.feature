@kubernetes @gate
Feature: Rolling back a StatefulSet that was updated in part

  A partition keeps all pods but the last at the old revision. Undo brings the last one back; the partition goes, as
  it was before.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: The last pod is of the old revision again
    When release "v2-misprints-in-order" is deployed over "v1-in-order"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
